-- title: The heads whose maps are most like those of one head
-- param: layer = 0 : layer of the head
-- param: head = 0 : the head
-- param: top = 10 : how many
-- needs: :maps
-- The mean over the prompts of the cosine of whole maps, and of their mean absolute difference.
SELECT 'L' || b.layer || 'H' || b.head AS name, b.layer, b.head,
  avg(att_cosine(a.id, b.id)) AS cosine, avg(att_gap(a.id, b.id)) AS mean_difference,
  count(*) AS prompts
FROM prompt AS p
CROSS JOIN map AS a ON a.prompt_id = p.id AND a.point = 'pattern' AND a.layer = :layer
  AND a.head = :head
CROSS JOIN map AS b ON b.prompt_id = p.id AND b.point = 'pattern'
WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) AND b.id <> a.id
GROUP BY b.layer, b.head
ORDER BY cosine DESC, b.layer, b.head
LIMIT :top
