-- title: Tokens through the layers: rank, logit and probability of those that lens --track follows
-- param: position = all : only this one
-- needs: lens
WITH look AS (
-- part: look
)
SELECT l.ord AS prompt, l.label AS id, r.position, r.token, r.text, r.layer, r.rank, r.logit, r.prob
FROM look AS l
CROSS JOIN lens_track AS r ON r.prompt_id = l.prompt_id AND r.analysis_run_id = l.analysis_run_id
WHERE :position IN ('all', CAST(r.position AS TEXT))
ORDER BY l.ord, r.position, r.token, r.layer
