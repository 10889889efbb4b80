-- title: Neurons that stand for one token, through the LM head
-- param: vector = all : gate or up, what a neuron reads; down, what it writes
-- param: top = 20 : how many
-- needs: weights
-- `weights --neurons` stores them.
WITH look AS (
-- part: look
)
SELECT 'L' || n.layer || 'N' || n.neuron AS neuron, n.vector, n.token, n.text, n.probability,
  n.layer, n.neuron AS idx
FROM look AS l
JOIN weights_neuron AS n ON n.prompt_id = l.prompt_id AND n.analysis_run_id = l.analysis_run_id
WHERE :vector IN ('all', n.vector)
ORDER BY n.probability DESC, n.layer, n.neuron, n.vector
LIMIT :top
