-- title: What the weights say of every head
-- param: sort = ov_copying : by which metric, largest first; head: by layer and head
-- needs: weights
WITH look AS (
-- part: look
)
SELECT 'L' || m.layer || 'H' || m.head AS name, m.layer, m.head,
  max(m.value) FILTER (WHERE m.metric = 'ov_copying') AS ov_copying,
  max(m.value) FILTER (WHERE m.metric = 'qk_matching') AS qk_matching,
  max(m.value) FILTER (WHERE m.metric = 'copy_score') AS copy_score,
  max(m.value) FILTER (WHERE m.metric = 'copy_score_negative') AS copy_score_negative,
  max(m.value) FILTER (WHERE m.metric = 'ov_norm') AS ov_norm,
  max(m.value) FILTER (WHERE m.metric = 'ov_spectral') AS ov_spectral,
  max(m.value) FILTER (WHERE m.metric = 'ov_nuclear') AS ov_nuclear,
  max(m.value) FILTER (WHERE m.metric = 'ov_rank') AS ov_rank,
  max(m.value) FILTER (WHERE m.metric = 'qk_norm') AS qk_norm,
  max(m.value) FILTER (WHERE m.metric = 'qk_spectral') AS qk_spectral,
  max(m.value) FILTER (WHERE m.metric = 'qk_nuclear') AS qk_nuclear,
  max(m.value) FILTER (WHERE m.metric = 'qk_rank') AS qk_rank,
  max(m.value) FILTER (WHERE m.metric = 'spectral_bound_nats') AS spectral_bound_nats,
  max(m.value) FILTER (WHERE m.metric = 'q_composition') AS q_composition,
  max(m.value) FILTER (WHERE m.metric = 'k_composition') AS k_composition,
  max(m.value) FILTER (WHERE m.metric = 'v_composition') AS v_composition
FROM look AS l
JOIN head_metric AS m ON m.prompt_id = l.prompt_id AND m.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'weights'
GROUP BY m.layer, m.head
ORDER BY max(m.value) FILTER (WHERE m.metric = :sort) DESC NULLS LAST, m.layer, m.head
