# ---- Competing risks ----------------------------------------------------------------------------

part("Cumulative incidence", c("survival", "cmprsk"), function() {
  report <- read_report("cumulative_incidence")
  if (is.null(report)) return()
  causes <- unique(report$cause)
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    inside <- in_group(data, row$group)
    code <- match(row$cause, causes)
    what <- paste(row$group, row$cause, row$time)
    there <- inside$time >= row$time
    if (late) there <- there & inside$entry_time < row$time
    compare("cumulative_incidence", what, "at_risk", row$at_risk, sum(there))
    if (row$time > max(inside$time) || !any(inside$cause == code)) {
      compare("cumulative_incidence", what, "incidence", row$incidence,
              if (row$time > max(inside$time)) NA else 0)
      next
    }
    if (late) {  # cuminc has no late entry, and survfit has another standard error
      inside$outcome <- survival::Surv(inside$entry_time, inside$time, factor(inside$cause, 0:2))
      states <- survival::survfit(outcome ~ 1, inside, id = seq_len(nrow(inside)))
      at <- summary(states, times = row$time, extend = TRUE)$pstate
      compare("cumulative_incidence", what, "incidence", row$incidence, at[1, code + 1])
      next
    }
    curves <- cmprsk::cuminc(inside$time, inside$cause)
    at <- cmprsk::timepoints(curves, row$time)
    place <- grep(paste0(" ", code, "$"), rownames(at$est))
    incidence <- at$est[place, 1]
    se <- sqrt(at$var[place, 1])
    compare("cumulative_incidence", what, c("incidence", "se"), row[c("incidence", "se")],
            c(incidence, se))
    if (!(incidence > 0 && incidence < 1)) next
    wide <- critical * se / abs(incidence * log(incidence))
    compare("cumulative_incidence", what, "lower", row$lower, incidence^exp(wide))
    compare("cumulative_incidence", what, "upper", row$upper, incidence^exp(-wide))
  }
})

part("Cause-specific Cox models", "survival", function() {
  report <- read_report("cause_specific")
  if (is.null(report)) return()
  causes <- unique(read_report("cumulative_incidence")$cause)
  for (cause in unique(report$cause)) for (term in list(group_term, score_term)) {
    rows <- report[report$cause == cause & report$variable == term$name, ]
    if (!nrow(rows)) next
    one <- data
    one$event <- as.numeric(data$cause == match(cause, causes))
    compare_model("cause_specific", rows, fit_model(list(term), one, "auto", TRUE))
  }
})
