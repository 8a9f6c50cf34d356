/** Streamable sequence models on CPUs. Each thread opens its own models; a handle belongs to the thread that made it. */
export type DType = 'float32' | 'int32' | 'bool' | 'complex64' | 'bfloat16' | 'float16' | 'int8';
export type Values = Float32Array | Int32Array | Uint8Array | Uint16Array | Int8Array;
/** The content of a step; by default one float32. */
export interface ChannelSpec { dtype?: DType; shape?: readonly number[] }

/** A call that failed: the number and the name of its status in the C ABI. */
export class SequenceLayersError extends Error {
  constructor(code: number, message: string);
  readonly code: number;
  readonly status: string;
}

/** Freed by close(), at the end of a `using` block, or by the garbage collector. */
declare class Handle {
  close(): void;
  [Symbol.dispose](): void;
}

/** Values [batch, time, channels...] with a mask [batch, time], or an array; read and written in place. */
export class Tensor<T extends Values = Float32Array> {
  private constructor();
  static sequence(dims: readonly number[], values?: ArrayLike<number>): Tensor;
  static sequence<T extends Values>(dims: readonly number[], values: ArrayLike<number> | undefined, dtype: DType): Tensor<T>;
  static array(dims: readonly number[], values?: ArrayLike<number>): Tensor;
  static array<T extends Values>(dims: readonly number[], values: ArrayLike<number> | undefined, dtype: DType): Tensor<T>;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly isArray: boolean;
  readonly values: T;
  readonly mask: Uint8Array | undefined;
  set(values: ArrayLike<number>): void;
}

export class Constants { constructor(tensors: Record<string, Tensor<any>>) }
export type ConstantsLike = Constants | Record<string, Tensor<any>>;
/** Auxiliary outputs, by path. */
export class Emits {
  private constructor();
  readonly tensors: ReadonlyMap<string, Tensor<any>>;
  get(path: string): Tensor<any> | undefined;
}
export interface RunOptions { constants?: ConstantsLike; emits?: Emits; output?: Tensor<any>; profile?: Profile }

/** A layer's calls and what they cost, without the layers within it. */
export interface LayerCost {
  path: string; type: string; parent: number | undefined; calls: number; selfSeconds: number; flop: number; bytes: number;
  /** The index of the layer whose kernel does this one's work. */
  foldedInto: number | undefined;
}
/** What each layer costs in the runs that are recorded in it. */
export class Profile extends Handle {
  constructor();
  /** Forgets what was recorded. */
  reset(): void;
  /** In the order of the layers' first calls; `parent` is an index, undefined for the model. */
  describe(): LayerCost[];
}

export type LogLevel = 'debug' | 'info' | 'warning' | 'error';
/** Sends messages of at least `level` to a function, or, without one, to stderr. For programs with one thread that uses the library. */
export function setLog(callback?: (level: LogLevel, message: string) => void, level?: LogLevel | 'off'): void;

export interface LayerOptions {
  /** Threads of layer-wise runs. */
  numThreads?: number;
  maxBytes?: number;
  registry?: Registry;
  /** 'float32', 'bfloat16', 'int8' or 'int4', and exceptions by the names of tensors: 'int8, *.output.kernel=float32'. */
  weightFormat?: string;
  /** Threads of steps with large matrices, the caller's included. */
  numStepThreads?: number;
  matmulBackend?: 'default' | 'own' | 'onednn' | 'openblas';
  /** How steps cache the keys and values of attention. */
  kvFormat?: 'float32' | 'bfloat16' | 'int8';
}
export interface StateOptions {
  batch?: number;
  /** Maximum of steps of one call; by default one block. */
  maxSteps?: number;
  /** Maximum of steps of the stream; by default it has no end. */
  maxLength?: number;
  input?: ChannelSpec;
  constants?: ConstantsLike;
}
/** A layer for which steps give other values than whole runs: always, for inputs with holes, or depending on padding. */
export interface StepDifference { condition: 'always' | 'holes' | 'padding'; layer: string; type: string; reason: string; cure: string }
export interface ConstantInfo { name: string; kind: 'any' | 'sequence' | 'array'; required: boolean; streamed: boolean }

/** A model. States and decoders keep it alive after it is closed. */
export class Layer extends Handle {
  private constructor();
  static open(directory: string, options?: LayerOptions): Layer;
  static create(config: string | object, weights?: Weights, options?: LayerOptions): Layer;
  readonly blockSize: number;
  readonly inputLatency: number;
  readonly outputLatency: number;
  readonly outputRatio: [numerator: number, denominator: number];
  readonly supportsStep: boolean;
  readonly inputSpec: Required<ChannelSpec>;
  readonly constants: ConstantInfo[];
  /** The input steps that can affect an output step, relative to its own; undefined if none can. */
  readonly receptiveField: [start: number, end: number] | undefined;
  readonly stepDifferences: StepDifference[];
  /** Writes a weights file whose matrices are packed, as the layer holds them. */
  saveWeights(path: string): void;
  outputSpec(input: ChannelSpec, constants?: ConstantsLike): Required<ChannelSpec>;
  metadata(key: string): string | undefined;
  describe(input: ChannelSpec, constants?: ConstantsLike): Record<string, unknown>;
  newOutput(mode: 'layer' | 'step', x: Tensor<any>, constants?: ConstantsLike): Tensor<any>;
  newEmits(x: Tensor<any>, constants?: ConstantsLike): Emits;
  apply(x: Tensor<any>, options?: RunOptions): Tensor<any>;
  newState(options?: StateOptions): State;
  newDecoder(options?: DecoderOptions): Decoder;
  newPipe(options?: PipeOptions): Pipe;
}

/** A stream through a model. */
export class State extends Handle {
  private constructor();
  step(x: Tensor<any>, options?: RunOptions): Tensor<any>;
  /**
   * Runs the next block of some of the streams, different items of the batch in any order: x, constants, emits and the output
   * have their items in that order. All other streams stay as they are.
   */
  stepSlots(slots: ArrayLike<number>, x: Tensor<any>, options?: RunOptions): Tensor<any>;
  stepper(steps: number, constants?: ConstantsLike): Stepper;
  newEmits(x: Tensor<any>, constants?: ConstantsLike): Emits;
  reset(): void;
  resetItem(item: number): void;
  copyFrom(source: State): void;
  copyItemFrom(item: number, source: State, sourceItem: number): void;
  /** One item of the batch as bytes, which a state of batch 1 loads too, and saves. */
  saveItem(item: number): Uint8Array;
  loadItem(item: number, bytes: Uint8Array): void;
  /** Records its steps from now on; undefined ends that. */
  record(profile: Profile | undefined): void;
  /** Copies of the tensors that make up the state. */
  tensors(): Record<string, Tensor<any>>;
  /** Sets one of them, such as a carry; integers are indices, not to be changed. */
  setTensor(name: string, tensor: Tensor<any>): void;
  fork(): State;
  save(): Uint8Array;
  load(bytes: Uint8Array): void;
}

/** Steps a stream in blocks of one size: write input, step(), read output. */
export class Stepper<T extends Values = Float32Array, U extends Values = Float32Array> {
  private constructor();
  readonly state: State;
  readonly x: Tensor<T>;
  readonly y: Tensor<U>;
  readonly input: T;
  readonly output: U;
  readonly emits: Emits | undefined;
  withEmits(): Emits;
  step(): U;
  /** Steps some of the streams, in any order: input, output, constants and emits have their items first, in that order. */
  stepSlots(slots: ArrayLike<number>): U;
  close(): void;
}

/** How a stream of tokens chooses. */
export interface ChoiceOptions {
  startToken?: number;
  stopToken?: number;
  padToken?: number;
  seed?: number | bigint;
  temperature?: number;
  topP?: number;
  topK?: number;
  /**
   * How far each negative pushes the logits, if steps have several tokens: at most 8 numbers. The batch of the constants is then
   * batch * (1 + guidance.length), each stream followed by its negatives.
   */
  guidance?: ArrayLike<number>;
}
export interface DecoderOptions extends ChoiceOptions {
  batch?: number;
  maxLength?: number;
  constants?: ConstantsLike;
}
/** What a step chose: stepTokens tokens and log probabilities of each stream, flat; the next sample overwrites it. */
export interface Choice { tokens: Int32Array; logProbs: Float32Array; mask: Uint8Array }
export class Decoder extends Handle {
  private constructor();
  /** Tokens of a step of one stream; if more than 1, prompts and given tokens are [batch, time, stepTokens]. */
  readonly stepTokens: number;
  prefill(tokens: Tensor<Int32Array>, constants?: ConstantsLike): void;
  sample(constants?: ConstantsLike): Choice;
  /**
   * Sets one stream of the batch to its start, with choices of its own. It then gives what a decoder of batch 1 with these options
   * gives, whatever runs beside it. Without options it starts as reset() sets it.
   */
  startSlot(slot: number, options?: ChoiceOptions): void;
  prefillSlot(slot: number, tokens: Tensor<Int32Array>, constants?: ConstantsLike): void;
  /** The next tokens of some streams, in the order of the slots; all others stay as they are. */
  sampleSlots(slots: ArrayLike<number>, constants?: ConstantsLike): Choice;
  /** Makes a stream continue where one of the source stands, with the choices of that one. */
  copySlotFrom(slot: number, source: Decoder, sourceSlot: number): void;
  saveSlot(slot: number): Uint8Array;
  loadSlot(slot: number, bytes: Uint8Array): void;
  /** Records its prompts and samples from now on; undefined ends that. */
  record(profile: Profile | undefined): void;
  logProb(tokens: Tensor<Int32Array>, constants?: ConstantsLike): Tensor;
  copyFrom(source: Decoder): void;
  reset(): void;
}

/** How audio goes through a model; by default its rate and channels, and the model alone. */
export interface PipeOptions {
  /** 'each': a model of one channel hears each of the host's alone; 'mix': their mean; 'model': its channels are the host's. */
  channels?: 'default' | 'each' | 'mix' | 'model';
  /** Frames a second. */
  hostRate?: number;
  /** Steps a second of the model; by default the "sample_rate" of its metadata. */
  modelRate?: number;
  hostChannels?: number;
  /** Maximum of frames in one call of the library; longer arrays take several. */
  maxFrames?: number;
  minLatency?: number;
  /** Frames of a cross-fade after a swap. */
  fadeFrames?: number;
  /** Share of the input in the output, 0 to 1. */
  dry?: number;
  quality?: 'default' | 'fast' | 'medium' | 'best';
}
/** A front of a stream for audio: any number of frames a call, a Float32Array a channel, late by `latency` frames. */
export class Pipe extends Handle {
  private constructor();
  readonly channels: number;
  readonly latency: number;
  /** Whether the model of before the last swap is still heard. */
  readonly isFading: boolean;
  /** Into new arrays, or into `output`, which may be the input. */
  process(input: readonly Float32Array[], output?: Float32Array[]): Float32Array[];
  /** Ends the input and gives what is still to come. */
  flush(): Float32Array[];
  reset(): void;
  setDry(dry: number): void;
  /** Fades into the model of `next`, of the same rate, channels and frames, which is closed by this. */
  swap(next: Pipe): void;
}

export class Weights extends Handle {
  constructor();
  static open(path: string): Weights;
  static read(bytes: Uint8Array): Weights;
  add(name: string, tensor: Tensor<any>): void;
}

export interface Properties {
  layerWiseOnly?: boolean;
  blockSize?: number;
  outputRatio?: [number, number];
  inputLatency?: number;
  outputLatency?: number;
  /** Input steps that can affect an output step; -Infinity: all of the past. */
  receptiveField?: [number, number];
  readsInvalidSteps?: boolean;
  countsInvalidSteps?: boolean;
}
/** A layer in JavaScript. Its tensors and states are copies, written back after the call. */
export interface CustomLayer {
  properties?(): Properties;
  outputSpec?(input: Required<ChannelSpec>): ChannelSpec;
  /** Bytes of state of one item of a batch, which start as zeros. */
  stateSize?(input: Required<ChannelSpec>): number;
  layer(x: Tensor<any>, y: Tensor<any>): void;
  /** By default layer(), for a layer without state. */
  step?(state: ArrayBuffer, x: Tensor<any>, y: Tensor<any>): void;
}
/** The tensors of a custom layer, while it is made. */
export interface WeightSource {
  /** A copy of the tensor of that name, such as 'kernel', under the layer's own path. */
  find(name: string, collection?: string): Tensor<any>;
}
/** Layer types, usable on the thread that made them. */
export class Registry extends Handle {
  constructor();
  add(type: string, factory: (config: any, weights: WeightSource) => CustomLayer): void;
}
export {};
