-- title: The prompts of a run
SELECT ord AS prompt, label AS id, n_token AS tokens, n_decoded AS decoded,
  substr(text, 1, 60) AS text
FROM prompt
WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt)
ORDER BY ord
