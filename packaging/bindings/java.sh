# The Java binding: formatting, warnings and documentation as errors, tests, overhead per step.
source packaging/bindings/maven
maven verify --projects core --also-make
cat build/java/sequence-layers/overhead.txt
