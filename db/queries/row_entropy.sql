-- title: The attention rows with the lowest entropy: head, position, its token
-- param: top = 10 : how many
-- param: first = 8 : first position that counts; early rows see few keys
SELECT 'L' || s.layer || 'H' || s.head AS name, s.layer, s.head, p.ord AS prompt,
  s.row0 + e.pos AS position, t.text AS token, e.value AS entropy_nats
FROM prompt AS p
JOIN row_series AS s ON s.prompt_id = p.id AND s.stat = 'entropy'
JOIN att_each(s.data) AS e
LEFT JOIN token AS t ON t.prompt_id = p.id AND t.pos = s.row0 + e.pos
WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) AND s.row0 + e.pos >= :first
ORDER BY e.value, s.layer, s.head, p.ord, position
LIMIT :top
