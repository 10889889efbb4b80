-- title: The runs of the same model under the same interventions, newest first
-- param: metric = any : those alone that have this metric of heads (see the query metrics)
WITH same AS (
-- part: same_runs
)
SELECT r.id AS run, r.label, r.status, r.created_at
FROM same JOIN run AS r USING (id)
WHERE :metric = 'any' OR EXISTS (
  SELECT 1 FROM prompt AS p CROSS JOIN head_metric AS h ON h.prompt_id = p.id
  WHERE p.run_id = r.id AND h.metric = :metric AND h.value IS NOT NULL
)
ORDER BY r.id DESC
