# Delphes with the detector of otcal: the chain of the JetClass card without its jet finders (otcal clusters the
# candidates itself, with the radius of the study), and with a scale of the energies that the calorimeters measure.
# Numbers come from the tables of otcal.simulation, filled in by otcal.simulation.delphes.card.

set RandomSeed @seed

set ExecutionPath {
  ParticlePropagator

  ChargedHadronTrackingEfficiency
  ElectronTrackingEfficiency
  MuonTrackingEfficiency

  ChargedHadronMomentumSmearing
  ElectronMomentumSmearing
  MuonMomentumSmearing

  TrackMerger
  TrackSmearing

  CalorimeterScale
  ECal
  HCal
  EFlowMerger

  TreeWriter
}

module ParticlePropagator ParticlePropagator {
  set InputArray Delphes/stableParticles

  set OutputArray stableParticles
  set ChargedHadronOutputArray chargedHadrons
  set ElectronOutputArray electrons
  set MuonOutputArray muons

  set Radius @radius
  set HalfLength @half_length
  set Bz @field
}

module Efficiency ChargedHadronTrackingEfficiency {
  set InputArray ParticlePropagator/chargedHadrons
  set OutputArray chargedHadrons
  set EfficiencyFormula {@charged_hadron_efficiency}
}

module Efficiency ElectronTrackingEfficiency {
  set InputArray ParticlePropagator/electrons
  set OutputArray electrons
  set EfficiencyFormula {@electron_efficiency}
}

module Efficiency MuonTrackingEfficiency {
  set InputArray ParticlePropagator/muons
  set OutputArray muons
  set EfficiencyFormula {@muon_efficiency}
}

module MomentumSmearing ChargedHadronMomentumSmearing {
  set InputArray ChargedHadronTrackingEfficiency/chargedHadrons
  set OutputArray chargedHadrons
  set ResolutionFormula {@charged_hadron_momentum}
}

module MomentumSmearing ElectronMomentumSmearing {
  set InputArray ElectronTrackingEfficiency/electrons
  set OutputArray electrons
  set ResolutionFormula {@electron_momentum}
}

module MomentumSmearing MuonMomentumSmearing {
  set InputArray MuonTrackingEfficiency/muons
  set OutputArray muons
  set ResolutionFormula {@muon_momentum}
}

module Merger TrackMerger {
  add InputArray ChargedHadronMomentumSmearing/chargedHadrons
  add InputArray ElectronMomentumSmearing/electrons
  add InputArray MuonMomentumSmearing/muons
  set OutputArray tracks
}

module TrackSmearing TrackSmearing {
  set InputArray TrackMerger/tracks
  set OutputArray tracks
  set Bz @field

  set D0ResolutionFormula {@d0_resolution}
  set DZResolutionFormula {@dz_resolution}
  # With the spaces: Delphes takes the bare text 0.0 for "no formula" and looks for a file of histograms.
  set PResolutionFormula { 0.0 }
  set CtgThetaResolutionFormula { 0.0 }
  set PhiResolutionFormula { 0.0 }
}

module EnergyScale CalorimeterScale {
  set InputArray ParticlePropagator/stableParticles
  set OutputArray stableParticles
  set ScaleFormula {@energy_scale}
}

module SimpleCalorimeter ECal {
  set ParticleInputArray CalorimeterScale/stableParticles
  set TrackInputArray TrackSmearing/tracks

  set TowerOutputArray ecalTowers
  set EFlowTrackOutputArray eflowTracks
  set EFlowTowerOutputArray eflowPhotons

  set IsEcal true
  set SmearTowerCenter true

  set EnergyMin @ecal_energy_min
  set EnergySignificanceMin @ecal_significance_min
@ecal_towers
@ecal_fractions
  set ResolutionFormula {@ecal_resolution}
}

module SimpleCalorimeter HCal {
  set ParticleInputArray CalorimeterScale/stableParticles
  set TrackInputArray ECal/eflowTracks

  set TowerOutputArray hcalTowers
  set EFlowTrackOutputArray eflowTracks
  set EFlowTowerOutputArray eflowNeutralHadrons

  set IsEcal false
  set SmearTowerCenter true

  set EnergyMin @hcal_energy_min
  set EnergySignificanceMin @hcal_significance_min
@hcal_towers
@hcal_fractions
  set ResolutionFormula {@hcal_resolution}
}

module Merger EFlowMerger {
  add InputArray HCal/eflowTracks
  add InputArray ECal/eflowPhotons
  add InputArray HCal/eflowNeutralHadrons
  set OutputArray eflow
}

module TreeWriter TreeWriter {
  add Branch Delphes/allParticles Particle GenParticle
  add Branch EFlowMerger/eflow ParticleFlowCandidate ParticleFlowCandidate
}
