/**
 * Streamable sequence models on CPUs: libsequence_layers for Java.
 *
 * <p>A model is a JSON config and weights. A {@link org.sequencelayers.Layer} runs it on whole
 * sequences, a {@link org.sequencelayers.State} on streams:
 *
 * <pre>{@code
 * try (Layer layer = Layer.open(Path.of("model"));
 *     State state = layer.newState()) {
 *   Stepper stepper = state.stepper(layer.blockSize());
 *   while (read(stepper.input().floats())) {
 *     stepper.step();
 *     write(stepper.output().floats());
 *   }
 * }
 * }</pre>
 *
 * <p>Threads: a {@code Layer} is for any number of threads at once. A {@code State}, a {@code
 * Stepper} and a {@code Decoder} are for one thread at a time, which may be another one each time;
 * a second one gets an {@link java.lang.IllegalStateException}. What is never closed is freed after
 * the garbage collector has found it.
 *
 * <p>The library is the file that the system property {@code sequencelayers.library} or the
 * environment variable {@code SEQUENCE_LAYERS_LIBRARY} names, or else the installed one.
 */
package org.sequencelayers;
