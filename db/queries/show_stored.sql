-- title: What a run stored: row summaries, maps, activations, series
WITH p AS (SELECT id FROM prompt WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt))
SELECT 'row summaries' AS what, 'f32' AS dtype, count(*) AS n, sum(4 * n_row) AS bytes
FROM p JOIN row_series AS s ON s.prompt_id = p.id
HAVING count(*) > 0
UNION ALL
SELECT CASE m.point WHEN 'pattern' THEN 'maps' ELSE 'attention scores' END, m.dtype,
  count(DISTINCT m.id), sum(c.raw_bytes)
FROM p JOIN map AS m ON m.prompt_id = p.id JOIN map_chunk AS c ON c.map_id = m.id
GROUP BY m.point, m.dtype
UNION ALL
SELECT CASE WHEN a.layer IS NULL THEN a.name ELSE replace(a.name, '.' || a.layer || '.', '.*.') END,
  a.dtype, count(DISTINCT a.id), sum(c.raw_bytes)
FROM p JOIN act AS a ON a.prompt_id = p.id JOIN act_chunk AS c ON c.act_id = a.id
GROUP BY 1, a.dtype
UNION ALL
SELECT 'series ' || s.name, 'f64', count(*), sum(8 * s.n)
FROM p JOIN series AS s ON s.prompt_id = p.id
GROUP BY s.name
