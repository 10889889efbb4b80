-- title: The logit lens: what a position would say after each layer, and how far that is from the end
-- param: position = all : only this one
-- needs: lens
-- layer -1 is what enters layer 0; rank is that of the final token.
WITH look AS (
-- part: look
)
SELECT l.ord AS prompt, l.label AS id, r.position, t.text AS token, r.layer, r.point, r.top, r.text,
  r.logit, r.prob, r.kl, r.rank, r.final_top, r.final_text
FROM look AS l
CROSS JOIN lens_row AS r ON r.prompt_id = l.prompt_id AND r.analysis_run_id = l.analysis_run_id
LEFT JOIN token AS t ON t.prompt_id = l.prompt_id AND t.pos = r.position
WHERE :position IN ('all', CAST(r.position AS TEXT))
ORDER BY l.ord, r.position, r.layer
