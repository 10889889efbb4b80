-- title: One head row by row: how it spreads its attention, and its strongest key (one prompt)
-- param: layer = 0 : layer
-- param: head = 0 : query head
-- distance: mean of query - key in tokens; first, self, prev: weight of these keys.
WITH p AS MATERIALIZED (
  SELECT id FROM prompt
  WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt) ORDER BY ord LIMIT 1
), stats AS (
  SELECT s.row0, max(CASE s.stat WHEN 'entropy' THEN s.data END) AS entropy,
    max(CASE s.stat WHEN 'max' THEN s.data END) AS most,
    max(CASE s.stat WHEN 'argmax' THEN s.data END) AS argmax,
    max(CASE s.stat WHEN 'first' THEN s.data END) AS first,
    max(CASE s.stat WHEN 'self' THEN s.data END) AS self,
    max(CASE s.stat WHEN 'prev' THEN s.data END) AS prev,
    max(CASE s.stat WHEN 'distance' THEN s.data END) AS distance
  FROM p CROSS JOIN row_series AS s ON s.prompt_id = p.id AND s.layer = :layer AND s.head = :head
  GROUP BY s.row0
), r AS (
  SELECT p.id, b.row0 + e.pos AS position, e.value AS entropy,
    CAST(att_nth(b.argmax, e.pos) AS INTEGER) AS key, att_nth(b.most, e.pos) AS weight,
    att_nth(b.first, e.pos) AS first, att_nth(b.self, e.pos) AS self,
    att_nth(b.prev, e.pos) AS prev, att_nth(b.distance, e.pos) AS distance
  FROM p CROSS JOIN stats AS b CROSS JOIN att_each(b.entropy) AS e
)
SELECT r.position, t.text AS token, r.entropy AS entropy_nats, r.key, k.text AS key_token, r.weight,
  r.first, r.self, r.prev, r.distance
FROM r
LEFT JOIN token AS t ON t.prompt_id = r.id AND t.pos = r.position
LEFT JOIN token AS k ON k.prompt_id = r.id AND k.pos = r.key
ORDER BY r.position
