-- title: Loss and recall while sets of KV heads stream, set by set
-- needs: duo
-- Means over the prompts. There is no recall where the model passes no test without streaming, where
-- passed is 0: tests are passed that more than half of the answer's words were said in.
WITH look AS (
-- part: look
),
rows_of AS (
-- part: duo_rows
)
SELECT share, streaming, ranking, CASE ranking WHEN 'random' THEN draw END AS draw,
  avg(nll) AS nll, CASE WHEN passed > 0 THEN avg(recall) END AS recall, tests, passed
FROM rows_of
GROUP BY share, ranking, draw
ORDER BY share, instr('lowest highest lowest_gate highest_gate random', ranking), draw
