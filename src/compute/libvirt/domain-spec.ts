export interface DomainSpec {
  readonly uuid: string
}
