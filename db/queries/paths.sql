-- title: What each sender says along a direct path: path patching, means over the pairs
-- needs: path
-- effect is the change of the metric, percent the same of the metric unedited; recovered is a ratio
-- of means, undefined where both halves score the same. The newest run of a pair counts.
WITH look AS (
-- part: look
),
sender AS (
  SELECT s.* FROM look AS l
  CROSS JOIN path_sender AS s ON s.prompt_id = l.prompt_id AND s.analysis_run_id = l.analysis_run_id
),
mean AS (
  SELECT kind, layer, idx, avg(value) AS value, avg(value - base) AS effect, avg(base) AS base,
    avg(clean) AS clean, avg(corrupt) AS corrupt, count(value) AS n
  FROM sender
  GROUP BY kind, layer, idx
),
scaled AS (
  SELECT *, abs(clean - corrupt) > 1e-6 * max(1, abs(clean), abs(corrupt)) AS apart FROM mean
)
SELECT CASE kind WHEN 'head' THEN 'L' || layer || 'H' || idx WHEN 'mlp' THEN 'L' || layer || 'M'
    ELSE 'L' || layer || 'G' || idx END AS unit,
  value, effect, CASE WHEN base <> 0 THEN 100 * effect / base END AS percent,
  CASE WHEN apart THEN (value - corrupt) / (clean - corrupt) END AS recovered,
  CASE WHEN NOT apart THEN 'the clean and the corrupted half score the same' END AS reason,
  n, layer, CASE kind WHEN 'mlp' THEN NULL ELSE idx END AS head, idx, kind, clean, corrupt,
  n AS pairs
FROM scaled
ORDER BY abs(effect) DESC NULLS LAST, layer, kind, idx
