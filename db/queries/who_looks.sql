-- title: Who looks at a token: the heads for whose later rows it is the strongest key (one prompt)
-- param: position = 0 : the token that is looked at
-- param: top = 10 : how many heads
-- share: of the rows after the token; from_position: the row with the largest weight.
WITH p AS MATERIALIZED (
  SELECT id FROM prompt
  WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt) ORDER BY ord LIMIT 1
), looks AS (
  SELECT p.id, k.layer, k.head, k.row0 + e.pos AS position, e.value = :position AS looks,
    CASE WHEN e.value = :position THEN att_nth(w.data, e.pos) END AS weight
  FROM p
  CROSS JOIN row_series AS k ON k.prompt_id = p.id AND k.stat = 'argmax'
  CROSS JOIN row_series AS w ON w.prompt_id = p.id AND w.layer = k.layer AND w.head = k.head
    AND w.stat = 'max' AND w.row0 = k.row0
  CROSS JOIN att_each(k.data) AS e
  WHERE k.row0 + e.pos > :position
)
SELECT 'L' || r.layer || 'H' || r.head AS name, r.layer, r.head, r.n AS rows, r.share,
  r.mean_weight, r.position AS from_position, t.text AS from_token, r.weight AS max_weight
FROM (SELECT id, layer, head, sum(looks) AS n, avg(looks) AS share, avg(weight) AS mean_weight,
        position, max(weight) AS weight
      FROM looks GROUP BY layer, head) AS r
LEFT JOIN token AS t ON t.prompt_id = r.id AND t.pos = r.position
WHERE r.n > 0
ORDER BY r.n * r.mean_weight DESC, r.layer, r.head
LIMIT :top
