-- title: Sink tokens that the residual stream tells (VAR), layer by layer: position, token, channel
-- param: tau = 0 : tokens of at least this phi alone; what was recorded is the least
-- needs: sink_tokens
-- phi: the channel's magnitude over the root mean square of the position; share: of sqrt(d_model),
-- its largest. Rows are those of the prompts asked for, one a layer and position.
WITH look AS (
-- part: look
)
SELECT l.ord AS prompt, s.layer, s.position, t.text AS token, s.channel, s.phi, s.share
FROM look AS l
CROSS JOIN sink_tokens_found AS s ON s.prompt_id = l.prompt_id
  AND s.analysis_run_id = l.analysis_run_id
LEFT JOIN token AS t ON t.prompt_id = l.prompt_id AND t.pos = s.position
WHERE l.analysis = 'sink_tokens' AND s.phi >= :tau
ORDER BY l.ord, s.layer, s.position
