-- The newest look of every analysis at every prompt that is asked for: what joins an analysis's
-- results by prompt_id and analysis_run_id gets those that count.
SELECT p.id AS prompt_id, p.ord, p.label, p.n_token, a.name AS analysis, max(r.id) AS analysis_run_id
FROM prompt AS p
JOIN analysis_run AS r ON r.prompt_id = p.id
JOIN analysis AS a ON a.id = r.analysis_id
WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
GROUP BY p.id, a.id
