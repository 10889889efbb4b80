-- title: What editing each head alone is worth on the calibration part, best first
-- param: top = 1000000 : how many
-- needs: calibrate
-- Changes of the loss, mean over the items: to first order (estimate), or as run (exact).
WITH look AS (
-- part: look
)
SELECT 'L' || h.layer || 'H' || h.head AS name, h.layer, h.head, h.setting, h.estimate, h.exact
FROM look AS l
CROSS JOIN calibrate_head AS h ON h.prompt_id = l.prompt_id AND h.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'calibrate'
ORDER BY coalesce(h.exact, h.estimate), h.layer, h.head, h.strength
LIMIT :top
