-- title: In what two runs differ: model, build, machine, options, interventions
-- param: other = 0 : the run to compare with; 0: the one before
-- needs: :other
-- before: of the other run. No rows: what was recorded, and how, is the same.
WITH facts AS MATERIALIZED (
  SELECT r.id, json_object('model', m.name, 'source', m.source, 'format', m.format,
      'weight_dtype', m.weight_dtype, 'fingerprint', m.fingerprint, 'n_param', m.n_param,
      'n_layer', m.n_layer, 'n_head', m.n_head, 'status', r.status, 'label', r.label,
      'tool_version', r.tool_version, 'backend', r.backend, 'isa', r.isa,
      'precision', r.precision, 'weights', r.weights, 'n_ctx', r.n_ctx, 'bos', r.bos,
      'seed', r.seed, 'prompts', (SELECT count(*) FROM prompt AS p WHERE p.run_id = r.id),
      'interventions', (SELECT group_concat(spec, ' ') FROM (
         SELECT spec FROM intervention AS i WHERE i.run_id = r.id ORDER BY ord))) AS json
  FROM run AS r JOIN model AS m ON m.id = r.model_id
  WHERE r.id IN (:run, CASE WHEN :other > 0 THEN :other
    ELSE (SELECT max(id) FROM run WHERE id < :run) END)
  UNION ALL
  SELECT id, CASE WHEN json_valid(options_json) THEN options_json ELSE '{}' END
  FROM run
  WHERE id IN (:run, CASE WHEN :other > 0 THEN :other
    ELSE (SELECT max(id) FROM run WHERE id < :run) END)
), fact AS MATERIALIZED (
  SELECT facts.id, e.key, max(e.value) AS value FROM facts, json_each(facts.json) AS e
  GROUP BY facts.id, e.key
), what AS (SELECT DISTINCT key FROM fact)
SELECT what.key AS what, b.value AS before, a.value AS value
FROM what
LEFT JOIN fact AS a ON a.id = :run AND a.key = what.key
LEFT JOIN fact AS b ON b.id <> :run AND b.key = what.key
WHERE a.value IS NOT b.value
ORDER BY what.key
