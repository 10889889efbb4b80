-- title: The sink heads, and the tokens that their attention goes to
-- param: heads = 5 : how many heads
-- param: tokens = 3 : how many tokens of each
-- needs: sinks|hidden_sinks
-- share: of all the head gives, over the rows of all prompts. The first token is told apart from the
-- same text further on.
WITH newest AS MATERIALIZED (
  SELECT s.prompt_id, s.layer, s.head, s.n, s.data, max(s.analysis_run_id)
  FROM prompt AS p CROSS JOIN series AS s ON s.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
    AND s.name = 'column_mean' AND s.head IS NOT NULL
  GROUP BY s.prompt_id, s.layer, s.head
), best AS MATERIALIZED (
  SELECT layer, head, avg(att_nth(data, 0)) AS sink_alpha0, sum(n) AS n_row
  FROM newest
  GROUP BY layer, head
  ORDER BY sink_alpha0 DESC, layer, head
  LIMIT :heads
), given AS (
  SELECT best.layer, best.head, best.sink_alpha0, e.pos = 0 AS first,
    group_concat(DISTINCT t.text) AS token, count(*) AS times,
    sum(e.value * (newest.n - e.pos)) / best.n_row AS share
  FROM best JOIN newest ON newest.layer = best.layer AND newest.head = best.head
  JOIN att_each(newest.data) AS e
  LEFT JOIN token AS t ON t.prompt_id = newest.prompt_id AND t.pos = e.pos
  GROUP BY best.layer, best.head, e.pos = 0, CASE WHEN e.pos > 0 THEN t.token_id END
)
SELECT 'L' || layer || 'H' || head AS name, layer, head, sink_alpha0,
  CASE WHEN first THEN 'first' ELSE 'later' END AS place, token, times AS tokens, share
FROM (SELECT *, row_number() OVER (PARTITION BY layer, head ORDER BY share DESC, token) AS rank
      FROM given)
WHERE rank <= :tokens
ORDER BY sink_alpha0 DESC, layer, head, rank
