# The Flink job: formatting, warnings and documentation as errors, tests on a cluster that loses a
# task manager, and what they logged around that.
source packaging/bindings/maven
maven verify
tail -n +1 build/java/sequence-layers-flink/{kill,rescale}.log
