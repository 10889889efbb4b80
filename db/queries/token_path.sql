-- title: What a token looks at through the layers: the strongest head and key of each (one prompt)
-- param: position = -1 : the token that looks; -1 is the last
-- param: per_layer = 1 : how many heads of each layer
-- param: first = 1 : heads whose strongest key comes before this position are left out
WITH p AS (
  SELECT id FROM prompt
  WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt) ORDER BY ord LIMIT 1
), q AS MATERIALIZED (
  SELECT id, CASE WHEN :position >= 0 THEN :position
    ELSE :position + (SELECT max(row0 + n_row) FROM row_series WHERE prompt_id = p.id AND layer = 0
                      AND head = 0 AND stat = 'max') END AS position
  FROM p
), best AS (
  SELECT q.id, k.layer, k.head, CAST(att_nth(k.data, q.position - k.row0) AS INTEGER) AS key,
    att_nth(w.data, q.position - w.row0) AS weight
  FROM q
  CROSS JOIN row_series AS k ON k.prompt_id = q.id AND k.stat = 'argmax'
    AND q.position BETWEEN k.row0 AND k.row0 + k.n_row - 1
  CROSS JOIN row_series AS w ON w.prompt_id = q.id AND w.layer = k.layer AND w.head = k.head
    AND w.stat = 'max' AND w.row0 = k.row0
)
SELECT r.layer, r.head, 'L' || r.layer || 'H' || r.head AS name, r.key AS position, t.text AS token,
  r.weight
FROM (SELECT *, row_number() OVER (PARTITION BY layer ORDER BY weight DESC, head) AS rank
      FROM best WHERE key >= :first) AS r
LEFT JOIN token AS t ON t.prompt_id = r.id AND t.pos = r.key
WHERE r.rank <= :per_layer
ORDER BY r.layer, r.rank
