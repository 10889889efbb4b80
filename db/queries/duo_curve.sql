-- title: Loss and recall as more and more KV heads stream
-- needs: duo
-- Means over the prompts; of random sets the mean over the draws, and their range.
WITH look AS (
-- part: look
),
rows_of AS (
-- part: duo_rows
),
sets AS (
  SELECT share, streaming, ranking, tests, passed, avg(nll) AS nll,
    CASE WHEN passed > 0 THEN avg(recall) END AS recall
  FROM rows_of
  GROUP BY share, ranking, draw
)
SELECT share, streaming, ranking, avg(nll) AS nll, min(nll) AS nll_low, max(nll) AS nll_high,
  avg(recall) AS recall, min(recall) AS recall_low, max(recall) AS recall_high,
  count(*) AS draws, tests, passed
FROM sets
GROUP BY share, ranking
ORDER BY instr('lowest highest lowest_gate highest_gate random', ranking), share
