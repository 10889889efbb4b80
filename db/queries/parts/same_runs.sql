-- The runs of the same model under the same interventions as the run that is asked for, which is one
-- of them.
WITH every AS MATERIALIZED (
  SELECT r.id, o.fingerprint, (SELECT group_concat(spec, char(10)) FROM (
    SELECT spec FROM intervention WHERE run_id = r.id ORDER BY ord)) AS edits
  FROM run AS r JOIN model AS o ON o.id = r.model_id
)
SELECT r.id
FROM every AS mine JOIN every AS r ON r.fingerprint = mine.fingerprint AND r.edits IS mine.edits
WHERE mine.id = :run
