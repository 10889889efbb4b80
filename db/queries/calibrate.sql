-- title: The proof of a calibration: every measure of the held-out part, before and after
-- needs: calibrate
-- change is with its 95 % bootstrap interval over paired items; verdict: helps, harms, or none, no
-- difference that these items can show.
WITH look AS (
-- part: look
)
SELECT v.measure, v.objective, v.items, v.baseline, v.calibrated, v.calibrated - v.baseline AS change,
  v.low, v.high, v.verdict
FROM look AS l
CROSS JOIN calibrate_verdict AS v ON v.prompt_id = l.prompt_id
  AND v.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'calibrate'
ORDER BY v.objective DESC, v.measure
