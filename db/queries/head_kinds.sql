-- title: Candidates for previous-token, duplicate-token and induction heads
-- param: top = 3 : how many of each kind
-- needs: stripes|echo
-- The mean over the prompts where the score is defined: duplicate and induction need repeats.
WITH newest AS (
  SELECT m.metric, m.layer, m.head, m.value, max(m.analysis_run_id)
  FROM prompt AS p CROSS JOIN head_metric AS m ON m.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
    AND m.metric IN ('previous', 'duplicate', 'induction', 'echo', 'echo_induction')
  GROUP BY m.prompt_id, m.metric, m.layer, m.head
), mean AS (
  SELECT metric, layer, head, avg(value) AS value, count(value) AS prompts
  FROM newest
  GROUP BY metric, layer, head
  HAVING count(value) > 0
)
SELECT metric AS kind, 'L' || layer || 'H' || head AS name, layer, head, value, prompts
FROM (SELECT *, row_number() OVER (PARTITION BY metric ORDER BY value DESC, layer, head) AS rank
      FROM mean)
WHERE rank <= :top
ORDER BY CASE metric WHEN 'previous' THEN 0 WHEN 'duplicate' THEN 1 WHEN 'induction' THEN 2
  WHEN 'echo' THEN 3 ELSE 4 END, rank
