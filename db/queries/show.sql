-- title: One run with its provenance
SELECT r.id AS run, r.label, r.status, r.created_at, r.ended_at, r.tool_version,
  m.name AS model, m.arch, m.source, m.format, m.weight_dtype, m.fingerprint, m.n_param,
  m.n_layer, m.n_head, m.n_kv_head, m.d_model, m.d_head, m.d_ff, m.n_vocab,
  r.backend, r.isa, r.runtime_threads, r.precision, r.weights, r.n_ctx, r.bos, r.seed, r.baseline_run_id,
  r.argv_json, r.options_json,
  (SELECT count(*) FROM prompt AS p WHERE p.run_id = r.id AND p.n_token > 0) AS prompts,
  (SELECT coalesce(sum(n_token + n_decoded), 0) FROM prompt AS p WHERE p.run_id = r.id) AS tokens
FROM run AS r JOIN model AS m ON m.id = r.model_id
WHERE r.id = :run
