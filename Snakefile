# otcal: optimal-transport calibration of jet taggers. Run `snakemake --cores all` for everything, or
# give a target: latent or simplex (figures and report of one study), validation (simulation against JetClass),
# conditions (maps in bins of jet pT: one for all, one that depends on it, one for each bin), bundle (calibrations
# to apply elsewhere).

from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


container: "envs/otcal.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/tagger.smk"
include: "workflow/rules/transport.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/mixture.smk"
include: "workflow/rules/flavour_maps.smk"
include: "workflow/rules/simplex_closure.smk"
include: "workflow/rules/closure.smk"
include: "workflow/rules/conditions.smk"
include: "workflow/rules/pages.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/bundle.smk"


rule all:
    default_target: True
    input:
        rules.merge_summaries.output,
        rules.latent.input,
        rules.simplex.input,
    localrule: True
