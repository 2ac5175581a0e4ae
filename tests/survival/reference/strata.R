# Reference numbers for strata, each with its own baseline hazard, and for concordance within them.
#
#   python -m tests.survival.datasets DATA
#   Rscript tests/survival/reference/strata.R DATA tests/survival/reference
#
# Debian 12: R 4.2.2, survival 3.5-3. Strata are the years of the samples of flchain.

suppressPackageStartupMessages(library(survival))
arguments <- commandArgs(trailingOnly = TRUE)
flchain <- read.csv(file.path(arguments[1], "flchain.csv"))
rows <- list()
put <- function(item, key, ...) {
  values <- list(...)
  for (quantity in names(values))
    rows[[length(rows) + 1]] <<- data.frame(
      dataset = "flchain", item = item, key = as.character(key), quantity = quantity,
      value = unname(as.numeric(values[[quantity]])))
}
exact <- coxph.control(eps = 1e-11, toler.chol = 1e-13, iter.max = 50)

fit <- coxph(Surv(time, event) ~ score + sex + strata(year), flchain, control = exact)
for (name in names(coef(fit)))
  put("strata-cox", name, coef = coef(fit)[[name]], se = sqrt(vcov(fit)[name, name]))
put("strata-cox", "score", loglik_null = fit$loglik[1], loglik = fit$loglik[2])
test <- cox.zph(fit, transform = "km")$table
for (name in rownames(test)) put("strata-zph", name, chisq = test[name, "chisq"])
change <- residuals(fit, type = "dfbeta")[, 1]
for (i in 1:30) put("strata-dfbeta", i - 1, change = change[i])

late <- coxph(Surv(entry_time, exit_age, event) ~ score + sex + strata(year), flchain,
              control = exact)
for (name in names(coef(late)))
  put("strata-late-cox", name, coef = coef(late)[[name]], se = sqrt(vcov(late)[name, name]))

# The marker has another level in each stratum; only pairs within a stratum count.
flchain$shifted <- flchain$score + 10 * as.numeric(factor(flchain$year))
within <- concordance(Surv(time, event) ~ shifted + strata(year), flchain, reverse = TRUE)
put("strata-concordance", "", estimate = within$concordance, pairs = sum(within$count[1:3]))

table <- do.call(rbind, rows)
table$value <- trimws(formatC(table$value, digits = 15, format = "g"))
write.csv(table, file.path(arguments[2], "strata.csv"), row.names = FALSE, quote = FALSE,
          eol = "\n")
