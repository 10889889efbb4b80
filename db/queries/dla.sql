-- title: Where a logit comes from: what the embeddings, heads, MLPs and biases add to it
-- param: part = all : only embed, head, mlp, neuron, bias or rest
-- param: position = all : only this one
-- param: top = 0 : the N largest; 0: all
-- param: by = value|layer : the largest first, or as they lie in the model
-- needs: lens
-- Heads, MLPs, embeddings and biases add up to the logit; neurons are parts of their MLP.
WITH look AS (
-- part: look
)
SELECT CASE d.part WHEN 'head' THEN 'L' || d.layer || 'H' || d.idx WHEN 'mlp' THEN 'L' || d.layer || 'M'
    WHEN 'neuron' THEN 'L' || d.layer || 'N' || d.idx ELSE d.part END AS unit,
  d.value, t.text AS token, t.minus_text AS minus, t.logit, d.part, d.layer, d.idx, d.position,
  l.ord AS prompt, l.label AS id, t.token AS token_id, t.minus AS minus_id
FROM look AS l
CROSS JOIN lens_target AS t ON t.prompt_id = l.prompt_id AND t.analysis_run_id = l.analysis_run_id
CROSS JOIN lens_dla AS d ON d.prompt_id = l.prompt_id AND d.analysis_run_id = l.analysis_run_id
  AND d.position = t.position
WHERE :part IN ('all', d.part) AND :position IN ('all', CAST(d.position AS TEXT))
ORDER BY CASE :by WHEN 'layer' THEN l.ord END, CASE :by WHEN 'layer' THEN d.position END,
  CASE :by WHEN 'layer' THEN d.part END, CASE :by WHEN 'value' THEN -abs(d.value) END, l.ord,
  d.position, d.part, d.layer, d.idx
LIMIT CASE WHEN :top > 0 THEN :top ELSE -1 END
