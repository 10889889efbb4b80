-- title: A sweep prompt by prompt: the metric without and with each unit edited
-- param: metric = all : which one: nll, kl, jsd, logit_diff, prob, prob_diff, accuracy or an own expression
-- param: layer = -1 : only the units of this layer; -1: all
-- needs: sweep
WITH look AS (
-- part: look
)
SELECT l.ord AS prompt, l.label AS id,
  CASE kind WHEN 'head' THEN 'L' || layer || 'H' || idx WHEN 'group' THEN 'L' || layer || 'G' || idx
    WHEN 'mlp' THEN 'L' || layer || 'M' WHEN 'layer' THEN 'L' || layer
    ELSE 'L' || layer || 'N' || idx END AS unit,
  metric, base, value, value - base AS change, kind, layer, idx
FROM look AS l
CROSS JOIN sweep_unit AS u ON u.prompt_id = l.prompt_id
  AND u.analysis_run_id = l.analysis_run_id
WHERE :metric IN ('all', metric) AND :layer IN (-1, layer)
ORDER BY prompt, metric, layer, idx
