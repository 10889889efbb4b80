-- title: The largest activation of the residual after each block, and the median
-- needs: massive
-- One row a layer: the largest of all prompts, with the median of its own.
WITH newest AS (
  SELECT m.*, max(m.analysis_run_id)
  FROM prompt AS p JOIN massive_top AS m ON m.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) AND m.rank = 0
  GROUP BY m.prompt_id, m.layer
)
SELECT layer, pos, channel, value, median
FROM (SELECT layer, pos, channel, value, median,
        row_number() OVER (PARTITION BY layer ORDER BY abs(value) DESC, prompt_id) AS place
      FROM newest)
WHERE place = 1
ORDER BY layer
