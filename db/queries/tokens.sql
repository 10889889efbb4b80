-- title: The tokens of a prompt (of all prompts without --prompt)
SELECT p.ord AS prompt, t.pos, t.token_id, t.text, t.byte_from, t.byte_to, t.decoded
FROM prompt AS p JOIN token AS t ON t.prompt_id = p.id
WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
ORDER BY p.ord, t.pos
