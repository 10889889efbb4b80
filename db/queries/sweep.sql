-- title: What editing each unit of a sweep changes, with 95 % intervals over the prompts
-- param: metric = all : which one: nll, kl, jsd, logit_diff, prob, prob_diff, accuracy or an own expression
-- needs: sweep
-- The newest sweep of a prompt counts. Largest change first.
WITH look AS (
-- part: look
),
change AS (
  SELECT u.kind, u.layer, u.idx, u.metric, avg(u.base) AS baseline, avg(u.value - u.base) AS value,
    att_interval(u.value - u.base) AS ci, count(u.value - u.base) AS n
  FROM look AS l
  CROSS JOIN sweep_unit AS u ON u.prompt_id = l.prompt_id
    AND u.analysis_run_id = l.analysis_run_id
  WHERE :metric IN ('all', u.metric)
  GROUP BY u.metric, u.kind, u.layer, u.idx
)
SELECT CASE kind WHEN 'head' THEN 'L' || layer || 'H' || idx WHEN 'group' THEN 'L' || layer || 'G' || idx
    WHEN 'mlp' THEN 'L' || layer || 'M' WHEN 'layer' THEN 'L' || layer
    ELSE 'L' || layer || 'N' || idx END AS unit,
  metric, value, json_extract(ci, '$[0]') AS ci_low, json_extract(ci, '$[1]') AS ci_high, n,
  baseline, kind, layer, idx
FROM change
ORDER BY metric, abs(value) DESC NULLS LAST, layer, idx
