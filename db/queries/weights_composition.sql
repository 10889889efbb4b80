-- title: Which heads read what earlier heads write, by Q-, K- and V-composition
-- param: kind = all : Q, K or V
-- param: top = 20 : how many
-- needs: weights
-- random is what random matrices come to. `weights --composition` stores the pairs.
WITH look AS (
-- part: look
)
SELECT c.kind, 'L' || c.from_layer || 'H' || c.from_head AS writes,
  'L' || c.layer || 'H' || c.head AS reads, c.value, c.random, c.value - c.random AS above,
  c.from_layer, c.from_head, c.layer, c.head
FROM look AS l
JOIN weights_composition AS c
  ON c.prompt_id = l.prompt_id AND c.analysis_run_id = l.analysis_run_id
WHERE :kind IN ('all', c.kind) AND c.value IS NOT NULL
ORDER BY c.value DESC, c.kind, c.from_layer, c.from_head, c.layer, c.head
LIMIT :top
