-- title: From which layer on the lens says the final token, or one that is followed
-- needs: lens
-- first: the earliest layer that says it; stays: from here to the end it does. -1 is what enters
-- layer 0, NULL: never.
WITH look AS (
-- part: look
), path AS (
  SELECT l.ord, l.label, r.position, 'final' AS why, r.final_top AS token, r.final_text AS text,
    r.layer, r.rank
  FROM look AS l
  CROSS JOIN lens_row AS r ON r.prompt_id = l.prompt_id AND r.analysis_run_id = l.analysis_run_id
  UNION ALL
  SELECT l.ord, l.label, r.position, 'track', r.token, r.text, r.layer, r.rank
  FROM look AS l
  CROSS JOIN lens_track AS r ON r.prompt_id = l.prompt_id AND r.analysis_run_id = l.analysis_run_id
), last AS (
  SELECT *, max(layer) OVER (PARTITION BY ord, position) AS n FROM path
)
SELECT ord AS prompt, label AS id, position, why, token, text,
  min(CASE WHEN rank = 0 THEN layer END) AS first,
  nullif(coalesce(max(CASE WHEN rank > 0 THEN layer END) + 1, -1), n + 1) AS stays,
  min(rank) AS best_rank
FROM last
GROUP BY ord, position, why, token
ORDER BY ord, position, why, token
