-- title: Where a sweep by gradients says that units matter: estimates of every unit and position
-- param: metric = all : which one: nll, logit_diff, prob or prob_diff
-- param: top = 20 : how many, the largest first
-- needs: sweep
-- What the edit does at that position alone, to first order; a unit's positions add up to its value.
WITH look AS (
-- part: look
), estimate AS (
  SELECT l.prompt_id, l.ord, l.label, s.layer, s.head, e.pos, e.value,
    substr(s.name, 7, instr(s.name, '_at') - 7) AS metric,
    CASE WHEN s.name LIKE '%\_at\_group' ESCAPE '\' THEN 'G' || s.head
      WHEN s.name LIKE '%\_at\_mlp' ESCAPE '\' THEN 'M' ELSE coalesce('H' || s.head, '') END AS part
  FROM look AS l
  CROSS JOIN series AS s ON s.prompt_id = l.prompt_id AND s.analysis_run_id = l.analysis_run_id
  CROSS JOIN att_each(s.data) AS e
  WHERE s.name GLOB 'delta_*_at*' AND :metric IN ('all', substr(s.name, 7, instr(s.name, '_at') - 7))
  ORDER BY abs(e.value) DESC, l.ord, s.layer, s.head, e.pos
  LIMIT :top
)
SELECT 'L' || layer || part AS unit, estimate.pos AS position, t.text AS token, metric, value,
  ord AS prompt, label AS id
FROM estimate LEFT JOIN token AS t ON t.prompt_id = estimate.prompt_id AND t.pos = estimate.pos
ORDER BY abs(value) DESC, ord, layer, head, estimate.pos
