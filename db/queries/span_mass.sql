-- title: The heads that give most to a span: mean weight on it of the rows behind it
-- param: span = all : the span's name; all: every one by itself
-- param: top = 10 : how many
-- needs: spans
-- Means over the prompts that have the span; density: that mass, a position of it.
WITH look AS (
-- part: look
)
SELECT 'L' || s.layer || 'H' || s.head AS name, s.layer, s.head, s.span, avg(s.mass) AS mass,
  avg(s.density) AS density, count(s.mass) AS prompts
FROM look AS l
CROSS JOIN spans_mass AS s ON s.prompt_id = l.prompt_id AND s.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'spans' AND :span IN ('all', s.span) AND s.mass IS NOT NULL
GROUP BY s.layer, s.head, s.span
ORDER BY mass DESC, s.layer, s.head, s.span
LIMIT :top
