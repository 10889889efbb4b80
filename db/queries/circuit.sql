-- title: The edges that carry most of what tells the halves of pairs apart (edge attribution)
-- param: top = 50 : how many, the largest first; 0: all
-- param: threshold = 0 : only those whose score is farther from 0
-- needs: edges
-- Means over the pairs. A receiver is an input of a node: q of a head, k and v of a KV group (a head
-- where heads have their own), what an MLP reads, or the logits. The newest run of a pair counts.
WITH look AS (
-- part: look
),
pair AS (
  SELECT e.* FROM look AS l
  CROSS JOIN edges_pair AS e ON e.prompt_id = l.prompt_id AND e.analysis_run_id = l.analysis_run_id
),
total AS (
  SELECT min(heads) AS heads, min(groups) AS groups, min(heads) / min(groups) AS heads_of_group, avg(base) AS base, avg(clean) AS clean,
    avg(corrupt) AS corrupt, count(*) AS pairs, min(metric) AS metric
  FROM pair
),
score AS (
  SELECT s.name, s.layer, s.head, e.pos AS sender, avg(e.value) AS value
  FROM look AS l
  CROSS JOIN series AS s ON s.prompt_id = l.prompt_id AND s.analysis_run_id = l.analysis_run_id
  CROSS JOIN att_each(s.data) AS e
  WHERE l.analysis = 'edges'
  GROUP BY s.name, s.layer, s.head, e.pos
),
edge AS (
  SELECT *, (sender - 1) / (heads + 1) AS from_layer, (sender - 1) % (heads + 1) AS place,
    substr(name, 6) AS kind
  FROM score CROSS JOIN total
  WHERE abs(value) > :threshold
)
SELECT CASE WHEN sender = 0 THEN 'embed' WHEN place = heads THEN 'L' || from_layer || 'M'
    ELSE 'L' || from_layer || 'H' || place END AS "from",
  CASE kind WHEN 'logits' THEN 'logits' WHEN 'mlp' THEN 'L' || layer || 'M'
    WHEN 'q' THEN 'L' || layer || 'H' || head
    ELSE 'L' || layer || CASE WHEN groups = heads THEN 'H' ELSE 'G' END || head END AS "to",
  kind, value, pairs, CASE WHEN sender > 0 THEN from_layer END AS from_layer,
  CASE WHEN sender > 0 AND place < heads THEN place END AS from_head,
  CASE WHEN kind <> 'logits' THEN layer END AS to_layer, head AS to_head, heads_of_group, metric, clean, corrupt
FROM edge
ORDER BY abs(value) DESC, sender, layer, kind, head
LIMIT CASE WHEN :top > 0 THEN :top ELSE -1 END
