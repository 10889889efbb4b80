-- Every head by each of the metrics :metrics, the mean over the prompts of one run: of the query's
-- where it has the metric, else of the newest that has it, of the same model under the same edits.
-- key is what heads are sorted by, the largest first: of a metric around zero the magnitude, of
-- others the value; "+metric" and "-metric" ask for the largest and the smallest value whatever it
-- is. place counts the heads that come as far, equals too: those with place <= k are the first k,
-- less those that only the order of equals would choose.
WITH asked AS (
  SELECT a.key AS nth, trim(a.value) AS name, ltrim(trim(a.value), '+-') AS metric
  FROM json_each('[' || replace(json_quote(CASE :metrics WHEN 'usual' THEN 'induction,previous,'
    || 'duplicate,sink_alpha0,retrieval,retrieval_tf,duo_probe,copy_score,path_effect,patch_effect,'
    || 'delta_nll'
    ELSE :metrics END), ',', '","') || ']') AS a
), same AS MATERIALIZED (
-- part: same_runs
), source AS MATERIALIZED (
  SELECT asked.*, CASE substr(name, 1, 1) WHEN '+' THEN 'largest' WHEN '-' THEN 'smallest' ELSE
      (SELECT CASE diverging WHEN 1 THEN 'farthest from 0' ELSE 'largest' END
       FROM metric WHERE metric.name = asked.metric AND kind = 'metric') END AS way,
    (SELECT r.id FROM same AS r
     WHERE EXISTS (
       SELECT 1 FROM prompt AS p CROSS JOIN head_metric AS h ON h.prompt_id = p.id
         AND h.metric = asked.metric AND h.value IS NOT NULL
       WHERE p.run_id = r.id)
     ORDER BY r.id = :run DESC, r.id DESC LIMIT 1) AS run
  FROM asked
), newest AS (
  SELECT s.nth, h.layer, h.head, h.value, max(h.analysis_run_id)
  FROM source AS s
  CROSS JOIN prompt AS p ON p.run_id = s.run
  CROSS JOIN head_metric AS h ON h.prompt_id = p.id AND h.metric = s.metric
  GROUP BY s.nth, h.prompt_id, h.layer, h.head
), mean AS (
  SELECT nth, layer, head, avg(value) AS value, count(value) AS prompts
  FROM newest
  GROUP BY nth, layer, head
  HAVING count(value) > 0
), keyed AS (
  SELECT source.*, layer, head, value, prompts,
    CASE way WHEN 'smallest' THEN -value WHEN 'farthest from 0' THEN abs(value) ELSE value END AS key
  FROM mean JOIN source USING (nth)
)
SELECT *, rank() OVER (PARTITION BY nth ORDER BY key DESC) AS rank,
  count(*) OVER (PARTITION BY nth ORDER BY key DESC) AS place
FROM keyed
