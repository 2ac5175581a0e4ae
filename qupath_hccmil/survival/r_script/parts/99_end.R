# ---- What was compared --------------------------------------------------------------------------

result <- do.call(rbind, compared)
result$agrees <- result$difference <= result$tolerance
output <- commandArgs(TRUE)
if (length(output)) write.csv(result, output[1], row.names = FALSE, fileEncoding = "UTF-8")
cat("Numbers of the report that R reproduces:\n")
for (table in unique(result$table)) {
  rows <- result[result$table == table, ]
  simulated <- grepl("(simulated)", rows$quantity, fixed = TRUE)
  told <- c(if (!all(simulated))
              sprintf("largest difference %.1e", max(rows$difference[!simulated])),
            if (any(simulated)) sprintf("%d simulated by each, compared within their error",
                                        sum(simulated)))
  cat(sprintf("  %-28s %5d of %5d; %s\n", table, sum(rows$agrees), nrow(rows),
              paste(told, collapse = "; ")))
}
for (line in not_done) cat(line, "\n", sep = "")
for (line in failed) cat("FAILED: ", line, "\n", sep = "")
differing <- result[!result$agrees, ]
if (nrow(differing)) {
  cat("DIFFERENT:\n")
  print(differing[, c("table", "what", "quantity", "report", "R", "tolerance")], row.names = FALSE)
}
cat(sprintf("%d of %d numbers agree. %s\n", sum(result$agrees), nrow(result), R.version.string))
if (!interactive() && (nrow(differing) || length(failed))) quit(status = 1)
