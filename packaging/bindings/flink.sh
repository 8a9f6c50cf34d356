# The Flink job: formatting, warnings and documentation as errors, tests on clusters that lose a
# task manager, and what they logged around that. Takes about two minutes.
source packaging/bindings/maven
maven verify
tail -n +1 build/java/sequence-layers-flink/{kill,process_kill,rescale}.log
