-- title: What KV heads cost that stream alone, dearest first, and their gates
-- param: top = 1000000 : how many
-- needs: duo
-- Means over the prompts; gates are of the whole run. The heads of a group all have its values: the
-- first one's are taken.
WITH look AS (
-- part: look
),
model_of AS (
  SELECT m.n_head / m.n_kv_head AS per FROM run AS r JOIN model AS m ON m.id = r.model_id
  WHERE r.id = :run
)
SELECT 'L' || m.layer || 'G' || (m.head / s.per) AS name, m.layer, m.head / s.per AS kv_head,
  'H' || m.head || CASE s.per WHEN 1 THEN '' ELSE '-' || (m.head + s.per - 1) END AS heads,
  avg(m.value) FILTER (WHERE m.metric = 'duo_probe') AS probe,
  avg(m.value) FILTER (WHERE m.metric = 'duo_z_error') AS z_error,
  avg(m.value) FILTER (WHERE m.metric = 'duo_gate') AS gate,
  count(DISTINCT l.prompt_id) AS prompts
FROM model_of AS s
CROSS JOIN look AS l
CROSS JOIN head_metric AS m ON m.prompt_id = l.prompt_id AND m.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'duo' AND m.head % s.per = 0
GROUP BY m.layer, m.head
ORDER BY probe DESC NULLS LAST, m.layer, kv_head
LIMIT :top
