-- title: What KV heads cost that stream alone, dearest first
-- param: top = 1000000 : how many
-- needs: duo
-- Means over the prompts; each query head of a group has its group's value.
WITH look AS (
-- part: look
),
model_of AS (
  SELECT m.n_head / m.n_kv_head AS per FROM run AS r JOIN model AS m ON m.id = r.model_id
  WHERE r.id = :run
)
SELECT 'L' || m.layer || 'G' || (m.head / s.per) AS name, m.layer, m.head / s.per AS kv_head,
  CASE WHEN min(m.head) = max(m.head) THEN 'H' || m.head
    ELSE 'H' || min(m.head) || '-' || max(m.head) END AS heads,
  avg(m.value) FILTER (WHERE m.metric = 'duo_probe') AS probe,
  avg(m.value) FILTER (WHERE m.metric = 'duo_z_error') AS z_error,
  count(DISTINCT l.prompt_id) AS prompts
FROM model_of AS s
CROSS JOIN look AS l
CROSS JOIN head_metric AS m ON m.prompt_id = l.prompt_id AND m.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'duo'
GROUP BY m.layer, m.head / s.per
ORDER BY probe DESC NULLS LAST, m.layer, kv_head
LIMIT :top
