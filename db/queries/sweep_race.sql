-- title: The race of a sweep for its top units: what is known of each, and how well
-- needs: sweep
-- Change of the metric over the n prompts that were measured, with its confidence bounds.
SELECT CASE kind WHEN 'head' THEN 'L' || layer || 'H' || idx WHEN 'group' THEN 'L' || layer || 'G' || idx
    WHEN 'mlp' THEN 'L' || layer || 'M' WHEN 'layer' THEN 'L' || layer
    ELSE 'L' || layer || 'N' || idx END AS unit,
  metric, mean AS value, low, high, n, member, settled, kind, layer, idx
FROM prompt AS p
JOIN sweep_race AS r ON r.prompt_id = p.id
WHERE p.run_id = :run
ORDER BY member DESC, abs(mean) DESC NULLS LAST, layer, idx
