-- title: What each item gave a calibration, before (candidate 0) and under the candidates
-- needs: calibrate
WITH look AS (
-- part: look
)
SELECT l.ord AS prompt, l.label AS id, i.part, i.candidate, i.measure, i.value
FROM look AS l
CROSS JOIN calibrate_item AS i ON i.prompt_id = l.prompt_id AND i.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'calibrate'
ORDER BY l.ord, i.candidate, i.measure
