-- title: The pairs of heads most alike in how they spread their attention
-- param: top = 10 : how many pairs
-- The cosine of their row summaries (entropy, largest weight, weight of the first token, the token
-- itself and the one before, distance) over all rows of all prompts, each number about the mean of
-- all heads and in units of their spread: see att_alike in headscope query --help.
WITH r AS (
  SELECT s.layer, s.head, s.data
  FROM prompt AS p CROSS JOIN row_series AS s ON s.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
    AND s.stat IN ('entropy', 'max', 'first', 'self', 'prev', 'distance')
  ORDER BY p.id, s.layer, s.head, s.stat, s.row0
), best AS (
  SELECT key AS rank, json_extract(value, '$[0]') AS layer_a, json_extract(value, '$[1]') AS head_a,
    json_extract(value, '$[2]') AS layer_b, json_extract(value, '$[3]') AS head_b,
    json_extract(value, '$[4]') AS cosine
  FROM json_each((SELECT att_alike(layer, head, data, :top) FROM r))
)
SELECT 'L' || layer_a || 'H' || head_a AS name_a, 'L' || layer_b || 'H' || head_b AS name_b,
  layer_a, head_a, layer_b, head_b, cosine
FROM best
ORDER BY rank
