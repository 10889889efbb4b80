-- title: What a position looks at through one head, strongest first
-- param: layer = 0 : layer
-- param: head = 0 : query head
-- param: query = 0 : position that looks
-- param: top = 10 : how many keys
-- needs: :maps
SELECT k.key AS position, t.token_id, t.text AS token, k.weight
FROM (SELECT id FROM prompt
      WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt) ORDER BY ord LIMIT 1) AS p
JOIN map AS m ON m.prompt_id = p.id AND m.point = 'pattern' AND m.layer = :layer AND m.head = :head
JOIN att_keys(m.id, :query) AS k
LEFT JOIN token AS t ON t.prompt_id = p.id AND t.pos = k.key
ORDER BY k.weight DESC, k.key
LIMIT :top
