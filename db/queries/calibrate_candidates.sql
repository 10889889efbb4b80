-- title: What a calibration tried on its calibration part, best first
-- needs: calibrate
-- The difference is a mean over the items that a candidate ran on, with its 95 % interval; the worse
-- ones stop early. One of many that were tried looks good by chance: only the held-out part proves it.
WITH look AS (
-- part: look
)
SELECT c.candidate, c.setting, c.n_head, c.items, c.baseline, c.value, c.value - c.baseline AS change,
  c.low, c.high, c.chosen, c.heads, c.spec
FROM look AS l
CROSS JOIN calibrate_candidate AS c ON c.prompt_id = l.prompt_id
  AND c.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'calibrate'
ORDER BY c.chosen DESC, c.items DESC, change, c.candidate
