-- title: What a head adds to a logit by the position that it looks at, the largest first
-- param: top = 20 : how many
-- needs: lens
-- Of runs of lens --dla --by source; a head's positions add up to its share.
WITH look AS (
-- part: look
), source AS (
  SELECT l.prompt_id, l.ord, l.label, s.layer, s.head, e.pos, e.value
  FROM look AS l
  CROSS JOIN series AS s ON s.prompt_id = l.prompt_id AND s.analysis_run_id = l.analysis_run_id
    AND s.name = 'dla_source'
  CROSS JOIN att_each(s.data) AS e
  ORDER BY abs(e.value) DESC, l.ord, s.layer, s.head, e.pos
  LIMIT :top
)
SELECT 'L' || layer || 'H' || head AS unit, source.pos AS position, t.text AS token, value,
  ord AS prompt, label AS id
FROM source LEFT JOIN token AS t ON t.prompt_id = source.prompt_id AND t.pos = source.pos
ORDER BY abs(value) DESC, ord, layer, head, source.pos
